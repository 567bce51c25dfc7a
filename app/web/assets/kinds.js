// Kinds that are corrected in a dataset's table go along to the form of a new job.
const train = document.querySelector("#train");
const bare = train.getAttribute("href");

document.addEventListener("change", (event) => {
  if (!event.target.dataset.kindOf) return;
  const kinds = {};
  for (const each of document.querySelectorAll("select[data-kind-of]")) {
    if (each.value) kinds[each.dataset.kindOf] = each.value;
  }
  const spec = encodeURIComponent(JSON.stringify({ features: { kinds } }));
  train.href = Object.keys(kinds).length ? `${bare}#${spec}` : bare;
});
