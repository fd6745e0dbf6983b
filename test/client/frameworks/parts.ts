/** Components that use every hook, for pages and for rendering on a server. */
import { Component, createElement as h, type ReactNode, Suspense, useState } from 'react';
import { createHooks, useChannel, useRow, useStatus } from '../../../src/client/react/index.ts';
import { type Note, textOf } from './notes.ts';

/** As `sno types` writes them. */
interface Channels {
  'room:{room}': { readonly row: Note; readonly key: { readonly id: number }; readonly values: { room: number } };
}

const { useLive, usePresence } = createHooks<Channels>();

/** Renderings of each component, by its id. */
export const renderings: Record<string, number> = {};
const count = (id: string): void => {
  renderings[id] = (renderings[id] ?? 0) + 1;
};

interface Props {
  readonly id: string;
  readonly room: number | undefined;
  readonly watch?: boolean;
  readonly waitForAccess?: boolean;
}

function Rows({ id, room }: Props) {
  count(id);
  const { rows, status, error, get } = useLive(room !== undefined && `room:${room}`);
  return h('p', { id, 'data-status': status, 'data-error': error?.code, 'data-first': get(1)?.body }, textOf(rows));
}

function OneRow({ id, room }: Props) {
  count(id);
  const note = useRow<Note>(`room:${room}`, { id: 1 });
  return h('p', { id }, note?.body ?? 'no row');
}

function Heard({ id, room }: Props) {
  const [heard, setHeard] = useState<readonly string[]>([]);
  const { status } = useChannel<Note>(`room:${room}`, {
    change: ({ events }) => setHeard([...heard, ...events.map(({ op }) => op)]),
    message: ({ event }) => setHeard([...heard, event]),
  });
  return h('p', { id, 'data-status': status }, heard.join(' '));
}

function Here({ id, room, watch }: Props) {
  const { members, status } = usePresence<{ name: string }>(`room:${room}`, { watch });
  const names = members.map(({ info }) => info.name);
  return h('p', { id, 'data-status': status }, names.sort().join(' '));
}

function Status({ id }: Props) {
  return h('p', { id }, useStatus().status);
}

function Waiting({ id, room, waitForAccess }: Props) {
  const { rows } = useLive(`room:${room}`, { suspense: true, waitForAccess });
  return h('p', { id }, textOf(rows));
}

interface Caught {
  readonly code: string | undefined;
}

class Boundary extends Component<{ readonly id: string; readonly children?: ReactNode }, Caught> {
  override state: Caught = { code: undefined };
  static getDerivedStateFromError(error: { code?: string }) {
    return { code: error.code ?? String(error) };
  }
  override render() {
    const { code } = this.state;
    if (code === undefined) return this.props.children;
    const again = () => this.setState({ code: undefined });
    return h('button', { id: this.props.id, type: 'button', onClick: again }, code);
  }
}

function Suspended(props: Props) {
  const fallback = h('p', { id: props.id }, 'loading');
  return h(Boundary, { id: props.id }, h(Suspense, { fallback }, h(Waiting, props)));
}

export const PARTS = { Rows, OneRow, Heard, Here, Status, Suspended } as const;
export type Part = readonly [part: keyof typeof PARTS, props: Props];

export const partsOf = (parts: readonly Part[]): ReactNode =>
  parts.map(([part, props]) => h(PARTS[part], { key: props.id, ...props }));
