/** "Why may this token not join?": asks the server, and shows each step of its decision. */
import type { ExplainRequest, Explanation } from '../../api/types.ts';
import { changed } from '../dom/drawing.ts';
import { type Child, element } from '../dom/element.ts';
import { announce } from '../parts/announce.ts';
import { faultBox, panel } from '../parts/parts.ts';
import type { Source } from '../poll.ts';
import type { Fault, Server } from '../server.ts';
import type { View } from '../view.ts';
import { explanationPanels } from './explanation.ts';

type Kind = 'token' | 'claims' | 'none';

const KINDS: Readonly<Record<Kind, string>> = { token: 'A token', claims: 'Claims', none: 'No token' };

export class ExplainView implements View {
  readonly id = 'explain';
  readonly title = 'Access';
  readonly #server: Server;
  #kind: Kind = 'token';
  #isAsking = false;
  #problem: Pick<Fault, 'code' | 'message'> | undefined;
  #explanation: Explanation | undefined;

  constructor(server: Server) {
    this.#server = server;
  }

  sources(): readonly Source<unknown>[] {
    return [];
  }

  leave(): void {
    this.#problem = undefined;
    this.#explanation = undefined;
  }

  draw(name: string): readonly Child[] {
    return [
      panel(
        {
          id: 'explain',
          title: 'Why may this token not join?',
          note: 'The token is sent to this service only, and kept nowhere.',
        },
        this.#form(name),
        this.#problem && faultBox(this.#problem),
      ),
      ...(this.#explanation === undefined ? [] : explanationPanels(this.#explanation)),
    ];
  }

  #form(name: string): HTMLElement {
    return element(
      'form',
      {
        class: 'explain-form',
        'data-key': `form ${name}`,
        onsubmit: (event) => {
          event.preventDefault();
          void this.#ask(event.currentTarget as HTMLFormElement);
        },
      },
      element(
        'label',
        { class: 'field' },
        'Channel',
        element('input', {
          name: 'channel',
          value: name,
          placeholder: 'project:42',
          required: true,
          autocomplete: 'off',
          autocapitalize: 'off',
          spellcheck: 'false',
        }),
      ),
      element(
        'fieldset',
        { class: 'kinds' },
        element('legend', {}, 'The client has'),
        ...(Object.keys(KINDS) as Kind[]).map((kind) => this.#choice(kind)),
      ),
      this.#credential(),
      element('button', { class: 'primary', disabled: this.#isAsking }, this.#isAsking ? 'Asking …' : 'Explain'),
    );
  }

  #choice(kind: Kind): HTMLElement {
    const onchange = () => {
      this.#kind = kind;
      changed();
    };
    return element(
      'label',
      {},
      element('input', { type: 'radio', name: 'kind', value: kind, checked: kind === this.#kind, onchange }),
      ` ${KINDS[kind]}`,
    );
  }

  #credential(): Child {
    if (this.#kind === 'none') return undefined;
    const isToken = this.#kind === 'token';
    return element(
      'label',
      { class: 'field', 'data-key': this.#kind },
      isToken ? 'Token' : 'Claims, as JSON. They count as verified.',
      element('textarea', {
        name: 'credential',
        placeholder: isToken ? 'eyJhbGciOi...' : '{"sub": "u1"}',
        required: true,
        autocomplete: 'off',
        autocapitalize: 'off',
        spellcheck: 'false',
      }),
    );
  }

  async #ask(form: HTMLFormElement): Promise<void> {
    const request = requestOf(new FormData(form), this.#kind);
    this.#explanation = undefined;
    if (request === undefined) {
      this.#problem = { code: 'claims', message: 'These claims are not a JSON object.' };
      changed();
      return;
    }
    this.#problem = undefined;
    this.#isAsking = true;
    changed();
    const { data, fault } = await this.#server.post<Explanation>('api/explain', request);
    this.#isAsking = false;
    this.#explanation = data;
    this.#problem = fault;
    announce(data?.summary ?? fault?.message ?? '');
    changed();
  }
}

/** Undefined: the claims are not a JSON object. */
function requestOf(form: FormData, kind: Kind): ExplainRequest | undefined {
  const channel = String(form.get('channel')).trim();
  const credential = String(form.get('credential') ?? '').trim();
  if (kind === 'none') return { channel };
  if (kind === 'token') return { channel, token: credential.replace(/^Bearer\s+/i, '') };
  try {
    const claims: unknown = JSON.parse(credential);
    if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) return undefined;
    return { channel, claims: claims as Record<string, unknown> };
  } catch {
    return undefined;
  }
}
