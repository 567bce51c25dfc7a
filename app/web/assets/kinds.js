// Kinds that are corrected in a dataset's table go along to the form of a new job.
const train = document.querySelector("#train");
const bare = train.getAttribute("href");

document.addEventListener("change", (event) => {
  if (!event.target.dataset.kindOf) return;
  const chosen = [...document.querySelectorAll("select[data-kind-of]")].filter((each) => each.value);
  const kinds = Object.fromEntries(chosen.map((each) => [each.dataset.kindOf, each.value]));
  const spec = encodeURIComponent(JSON.stringify({ features: { kinds } }));
  train.href = chosen.length ? `${bare}#${spec}` : bare;
});
