/** Draws the page again when something has changed, at most once a frame. */

let draw: () => void = () => {};
let isDue = false;

/** Says how the page is drawn. */
export function drawWith(callback: () => void): void {
  draw = callback;
}

/** Something has changed that the page shows. A hidden page is drawn when it is shown again. */
export function changed(): void {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}
