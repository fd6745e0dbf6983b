/** Draws the page again when something has changed, at most once a frame. */

let draw: () => void = () => {};
let isDue = false;

/** Sets the function that draws the page. */
export function drawWith(callback: () => void): void {
  draw = callback;
}

/**
 * Call when data that the page shows has changed. A hidden page is drawn when it is shown again.
 */
export function changed(): void {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}
