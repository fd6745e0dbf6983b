import { changed } from '../dom/drawing.ts';
import { element } from '../dom/element.ts';
import { announce } from './announce.ts';

const SHOWN_MS = 1_500;

/** The text whose button says "Copied". */
let copied: string | undefined;

/** A command or SQL with a button that copies it. */
export function copyable(text: string): HTMLElement {
  const word = copied === text ? 'Copied' : 'Copy';
  return element(
    'div',
    { class: 'copy' },
    element('pre', {}, text),
    element(
      'button',
      {
        type: 'button',
        'aria-label': `${word}: ${text}`,
        onclick: ({ currentTarget }) => void copy(currentTarget, text),
      },
      word,
    ),
  );
}

async function copy(button: EventTarget | null, text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // A page by plain HTTP from another machine may not use the clipboard: selected text can be
    // copied by hand.
    const shown = (button as HTMLElement).parentElement?.querySelector('pre');
    if (shown) getSelection()?.selectAllChildren(shown);
    announce('Selected. Press Ctrl and C to copy.');
    return;
  }
  copied = text;
  announce('Copied');
  changed();
  window.setTimeout(() => {
    if (copied === text) copied = undefined;
    changed();
  }, SHOWN_MS);
}
