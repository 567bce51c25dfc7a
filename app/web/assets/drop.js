// A place where a file is dropped, with the input where one is chosen.

/** Call `take` with each file that is given to `place`. */
export function onFile(place, take) {
  for (const kind of ["dragover", "dragleave", "drop"]) {
    place.addEventListener(kind, (event) => {
      event.preventDefault();
      place.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
    });
  }
  const input = place.querySelector("input[type=file]");
  input.addEventListener("change", () => input.files.length && take(input.files[0]));
}
