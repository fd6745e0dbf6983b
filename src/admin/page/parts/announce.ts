import { byId } from '../dom/element.ts';

/** Makes screen readers say this once they have finished their current sentence. */
export function announce(text: string): void {
  byId('announcement').textContent = text;
}
