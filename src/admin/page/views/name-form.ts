import { element } from '../dom/element.ts';

/** Asks for the name of a channel. */
export function nameForm(name: string, action: string, open: (name: string) => void): HTMLElement {
  const onsubmit = (event: Event) => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem('channel') as HTMLInputElement;
    const wanted = input.value.trim();
    if (wanted !== '') open(wanted);
  };
  return element(
    'form',
    { class: 'name-form', onsubmit, 'data-key': name },
    element('input', {
      name: 'channel',
      value: name,
      placeholder: 'project:42',
      'aria-label': 'Name of a channel',
      autocomplete: 'off',
      autocapitalize: 'off',
      spellcheck: 'false',
      required: true,
    }),
    element('button', { class: 'primary' }, action),
  );
}
