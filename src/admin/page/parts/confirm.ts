import { byId, element } from '../dom/element.ts';

export interface Question {
  readonly title: string;
  readonly text: string;
  /** The word on the button that does it. */
  readonly yes: string;
}

/** Asks before something is done that cannot be undone. Escape says no. */
export function confirmed({ title, text, yes }: Question): Promise<boolean> {
  const dialog = byId('question') as HTMLDialogElement;
  dialog.returnValue = '';
  dialog.replaceChildren(
    element(
      'form',
      { method: 'dialog' },
      element('h2', { id: 'question-title' }, title),
      element('p', {}, text),
      element(
        'div',
        { class: 'answers' },
        element('button', { class: 'quiet', value: '' }, 'Cancel'),
        element('button', { class: 'danger sure', value: 'yes' }, yes),
      ),
    ),
  );
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    dialog.showModal();
  });
}
