import { byId } from '../dom/element.ts';

/** Has a screen reader say this, when it has finished what it says now. */
export function announce(text: string): void {
  byId('announcement').textContent = text;
}
