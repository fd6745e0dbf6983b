/** Hooks where no page is: rendering on a server, and the views that hooks share. */
import { Writable } from 'node:stream';
import { createElement as h, type ReactNode } from 'react';
import { renderToPipeableStream, renderToString } from 'react-dom/server';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { connect, type SnoClient } from '../../../src/client/index.ts';
import type { Socket } from '../../../src/client/platform/socket.ts';
import { SnoProvider } from '../../../src/client/react/index.ts';
import { shownOf, storeOf } from '../../../src/client/react/store.ts';
import { type Part, partsOf } from './parts.ts';

describe('a server', () => {
  const parts: readonly Part[] = [
    ['Rows', { id: 'rows', room: 1 }],
    ['OneRow', { id: 'first', room: 1 }],
    ['Heard', { id: 'heard', room: 1 }],
    ['Here', { id: 'here', room: 1 }],
    ['Status', { id: 'status', room: 1 }],
  ];
  const page = (client: SnoClient, ...children: readonly ReactNode[]) =>
    h(SnoProvider, { client }, h('main', null, ...children));

  test('renders every hook without a connection, a window or a WebSocket', () => {
    const client = connect(undefined, { lazy: true });
    const html = renderToString(page(client, partsOf(parts)));
    expect(html).toBe(
      '<main><p id="rows" data-status="connecting"></p><p id="first">no row</p>' +
        '<p id="heard" data-status="connecting"></p><p id="here" data-status="connecting"></p>' +
        '<p id="status">idle</p></main>',
    );
    expect([client.status, 'window' in globalThis]).toEqual(['idle', false]);
  });

  test('streams the fallback of a component that suspends, and does not wait for its rows', async () => {
    const client = connect(undefined, { lazy: true });
    const errors: unknown[] = [];
    const html = await new Promise<string>((resolve, reject) => {
      const chunks: string[] = [];
      const sink = new Writable({
        write: (chunk, _, done) => {
          chunks.push(String(chunk));
          done();
        },
        final: () => resolve(chunks.join('')),
      });
      const stream = renderToPipeableStream(page(client, partsOf([['Suspended', { id: 'waits', room: 1 }]])), {
        onAllReady: () => stream.pipe(sink),
        onShellError: reject,
        onError: (error) => void errors.push(error),
      });
    });
    expect(html).toContain('<p id="waits">loading</p>');
    expect(errors).toEqual([expect.objectContaining({ code: 'suspended_on_server' })]);
    expect(client.status).toBe('idle');
  });

  test('a hook without a provider names what is missing', () => {
    expect(() => renderToString(h('main', null, partsOf(parts)))).toThrow('needs a <SnoProvider');
  });
});

describe('the shared views', () => {
  /** A socket that never opens. */
  class Silent implements Socket {
    readonly readyState = 0;
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;
    send(): void {}
    close(): void {}
  }

  let client: SnoClient;
  const live = vi.fn();
  beforeEach(() => {
    vi.useFakeTimers();
    const real = connect('wss://never.test', { WebSocket: Silent, lazy: true, keepMs: 0 });
    client = { ...real, live: (...of: Parameters<SnoClient['live']>) => live(real.live(...of)) as never };
    live.mockReset().mockImplementation((view) => view);
  });
  afterEach(() => vi.useRealTimers());

  const store = (name = 'room:1') => storeOf(client, name, {});
  const views = () => live.mock.calls.map(([view]) => view.status);

  test('components of one channel share a view, which closes a while after the last one has left', () => {
    const [one, two] = [store().subscribe(() => {}), store().subscribe(() => {})];
    one();
    vi.advanceTimersByTime(60_000);
    expect(views()).toEqual(['connecting']);
    two();
    vi.advanceTimersByTime(2_000);
    // StrictMode mounts again
    const three = store().subscribe(() => {});
    vi.advanceTimersByTime(60_000);
    expect(views()).toEqual(['connecting']);
    three();
    vi.advanceTimersByTime(3_000);
    expect(views()).toEqual(['closed']);
    store().subscribe(() => {});
    expect(views()).toEqual(['closed', 'connecting']);
  });

  test('a render opens nothing; a component that suspends opens the view after its render', async () => {
    expect(shownOf(client, 'room:1', {})).toMatchObject({ rows: [], status: 'connecting', loaded: false });
    void store().settled();
    expect(views()).toEqual([]);
    await Promise.resolve();
    expect(views()).toEqual(['connecting']);
    expect(store().settled()).toBe(store().settled());
  });

  test('the view of a suspended component that is given up closes after a minute', async () => {
    const settled = store().settled();
    await Promise.resolve();
    vi.advanceTimersByTime(60_000);
    await settled;
    expect(views()).toEqual(['closed']);
  });

  test('what is shown is the same object until something changes', () => {
    const changed = vi.fn();
    store().subscribe(changed);
    const { shown } = store();
    expect(store().shown).toBe(shown);
    changed.mockReset();
    void client.close();
    expect(changed).toHaveBeenCalled();
    expect(store().shown).toMatchObject({ status: 'closed', error: { code: 'closed' } });
  });

  test('a client that is closed already is shown, and not thrown', async () => {
    await client.close();
    store().subscribe(() => {});
    expect(store().shown).toMatchObject({ rows: [], status: 'closed', error: { code: 'closed' } });
    await expect(store().shown.reached('1')).rejects.toMatchObject({ code: 'closed' });
  });
});
