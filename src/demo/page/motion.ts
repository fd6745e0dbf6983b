/**
 * Animations that show where an element moved, what is new and what changed. None if the user
 * prefers reduced motion.
 */

const STILL = matchMedia('(prefers-reduced-motion: reduce)');
const EASING = 'cubic-bezier(.2, .8, .2, 1)';

export const wantsMotion = (): boolean => !STILL.matches;

/**
 * Notes where the elements are. The returned function lets them glide from there to their new
 * places.
 */
export function glide(elements: Iterable<HTMLElement>): () => void {
  const before = new Map([...elements].map((item) => [item, item.getBoundingClientRect()]));
  return () => {
    if (!wantsMotion()) return;
    for (const [item, from] of before) {
      if (!item.isConnected) continue;
      const to = item.getBoundingClientRect();
      const [x, y] = [from.left - to.left, from.top - to.top];
      if (Math.abs(x) + Math.abs(y) < 1) continue;
      item.animate(
        [
          { transform: `translate(${x}px, ${y}px)`, zIndex: 2 },
          { transform: 'none', zIndex: 2 },
        ],
        { duration: 420, easing: EASING },
      );
    }
  };
}

export function appear(item: HTMLElement): void {
  if (!wantsMotion()) return;
  item.animate([{ opacity: 0, transform: 'translateY(-6px) scale(.97)' }, {}], { duration: 320, easing: EASING });
}

/** Lights the element up once. */
export function arrive(item: HTMLElement): void {
  if (!wantsMotion()) return;
  item.animate([{ opacity: 0.25 }, {}], { duration: 240, easing: 'ease-out' });
}

/** Removes the element, and lets a copy of it fade out in its place. */
export function melt(item: HTMLElement): void {
  const { left, top, width, height } = item.getBoundingClientRect();
  item.remove();
  if (!wantsMotion()) return;
  const ghost = item.cloneNode(true) as HTMLElement;
  ghost.inert = true;
  ghost.setAttribute('aria-hidden', 'true');
  Object.assign(ghost.style, {
    position: 'fixed',
    margin: '0',
    left: `${left}px`,
    top: `${top}px`,
    width: `${width}px`,
    height: `${height}px`,
  });
  document.body.append(ghost);
  const end = () => ghost.remove();
  ghost
    .animate([{}, { opacity: 0, transform: 'scale(.96)' }], { duration: 260, easing: 'ease-out' })
    .finished.then(end, end);
}

/** Makes a changed element glow, in the colours of style.css. */
export function glow(item: HTMLElement, kind: 'changed' | 'up' | 'down' | 'goal' = 'changed'): void {
  item.classList.remove('glow-changed', 'glow-up', 'glow-down', 'glow-goal');
  // Reading the layout lets the same animation start again.
  void item.offsetWidth;
  item.classList.add(`glow-${kind}`);
}
