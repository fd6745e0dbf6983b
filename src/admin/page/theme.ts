import { byId } from './dom/element.ts';

const KEY = 'sno-theme';
const DARK = matchMedia('(prefers-color-scheme: dark)');

/** Follows the system until the reader chooses. The choice is kept in this browser. */
export function startTheme(): void {
  const root = document.documentElement;
  const stored = localStorage.getItem(KEY);
  if (stored === 'light' || stored === 'dark') root.dataset['theme'] = stored;
  byId('theme').addEventListener('click', () => {
    const now = root.dataset['theme'] ?? (DARK.matches ? 'dark' : 'light');
    const next = now === 'dark' ? 'light' : 'dark';
    root.dataset['theme'] = next;
    localStorage.setItem(KEY, next);
  });
}
