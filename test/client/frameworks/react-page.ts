/** A page with React in its development build, which a test drives by `globalThis.app`. */
import { createElement as h, StrictMode } from 'react';
import { createRoot, hydrateRoot, type Root } from 'react-dom/client';
import { connect } from '../../../src/client/index.ts';
import { SnoProvider } from '../../../src/client/react/index.ts';
import { type Part, partsOf, renderings } from './parts.ts';

let client: ReturnType<typeof connect>;
let root: Root | undefined;

const treeOf = (parts: readonly Part[]) =>
  h(StrictMode, null, h(SnoProvider, { client }, h('main', null, partsOf(parts))));
const container = () => document.querySelector('#root') as HTMLElement;

const app = {
  renderings,
  connect(url: string, token?: string): void {
    client = connect(url, { token, lazy: true, keepMs: 0, backoff: { baseMs: 10, capMs: 100 } });
  },
  show(parts: readonly Part[]): void {
    root ??= createRoot(container());
    root.render(treeOf(parts));
  },
  hydrate(html: string, parts: readonly Part[]): void {
    container().innerHTML = html;
    root = hydrateRoot(container(), treeOf(parts), {
      onRecoverableError: (error) => {
        // biome-ignore lint/suspicious/noConsole: the test reads the page's console.
        console.error(`recovered: ${String(error)}`);
      },
    });
  },
  unmount(): void {
    root?.unmount();
    root = undefined;
  },
  close: () => client.close(),
};

export type ReactPage = typeof app;
Object.assign(globalThis, { app });
