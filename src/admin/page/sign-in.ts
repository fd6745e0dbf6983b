import { element } from './dom/element.ts';

/** Asks for the token of the admin port. */
export function tokenForm(isRefused: boolean, signIn: (token: string) => void): HTMLElement {
  const onsubmit = (event: Event) => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem('token') as HTMLInputElement;
    const token = input.value.trim();
    if (token === '') return;
    input.value = '';
    signIn(token);
  };
  return element(
    'section',
    { class: 'panel sign-in', 'data-key': 'sign-in', 'aria-labelledby': 'sign-in-title' },
    element('h2', { id: 'sign-in-title' }, 'This service asks for its token'),
    element('p', { class: 'note' }, 'It is the value of SNO_ADMIN_TOKEN. This tab keeps it until you close it.'),
    element(
      'form',
      { onsubmit },
      element(
        'label',
        { class: 'field' },
        'Token',
        element('input', {
          type: 'password',
          name: 'token',
          autocomplete: 'off',
          required: true,
          autofocus: true,
          'aria-invalid': isRefused && 'true',
          'aria-describedby': isRefused && 'sign-in-fault',
        }),
      ),
      element('button', { class: 'primary' }, 'Open the dashboard'),
    ),
    isRefused &&
      element('p', { class: 'fault', id: 'sign-in-fault', role: 'alert' }, 'The service refused this token.'),
  );
}
