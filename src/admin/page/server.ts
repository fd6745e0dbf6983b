/**
 * Requests to the admin port. The token is sent in a header, never in a URL. Only this tab keeps
 * it.
 */
import type { ApiProblem } from '../api/types.ts';
import { readLines } from './lines.ts';

const TOKEN_KEY = 'sno-admin-token';
/** Pages of other origins cannot send it, so it shows that this page asks. */
const OWN_HEADER = 'x-sno-admin';
const TIMEOUT_MS = 10_000;

/**
 * Why an answer has no data. `token`: the server requires another token. `lost`: it did not answer.
 * `refused`: it answered with an error.
 */
export interface Fault extends ApiProblem {
  readonly kind: 'token' | 'lost' | 'refused';
}

export type Answer<Data> =
  | { readonly data: Data; readonly fault?: undefined }
  | { readonly data?: undefined; readonly fault: Fault };

/** Whether requests reach the server. `token_refused`: the token that was given is wrong. */
export type Reach = 'unknown' | 'open' | 'token_needed' | 'token_refused' | 'lost';

export class Server {
  #token = sessionStorage.getItem(TOKEN_KEY) ?? undefined;
  #reach: Reach = 'unknown';
  readonly #changed: () => void;

  /** `changed` is called when `reach` changes. */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get reach(): Reach {
    return this.#reach;
  }

  get hasToken(): boolean {
    return this.#token !== undefined;
  }

  /** Keeps the token for this tab. Undefined forgets it. */
  setToken(token: string | undefined): void {
    this.#token = token;
    if (token === undefined) sessionStorage.removeItem(TOKEN_KEY);
    else sessionStorage.setItem(TOKEN_KEY, token);
    this.#setReach('unknown');
  }

  async get<Data>(path: string, signal: AbortSignal): Promise<Answer<Data>> {
    return await this.#ask<Data>(path, {}, signal);
  }

  async post<Data>(path: string, body: unknown): Promise<Answer<Data>> {
    const headers = { 'content-type': 'application/json' };
    return await this.#ask<Data>(path, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  /** Reads a stream of lines. Resolves with a fault if it is refused or breaks off. */
  async follow(path: string, signal: AbortSignal, callback: (line: unknown) => void): Promise<Fault | undefined> {
    try {
      const response = await this.#fetch(path, { signal });
      if (!response.ok || response.body === null)
        return faultOf(response.status === 401 ? 'token' : 'refused', response.status, await bodyOf(response));
      await readLines(response.body, callback);
      return undefined;
    } catch (error) {
      return lost(error);
    }
  }

  async #ask<Data>(path: string, init: RequestInit, signal?: AbortSignal): Promise<Answer<Data>> {
    const token = this.#token;
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    try {
      const response = await this.#fetch(path, {
        ...init,
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      const body = await bodyOf(response);
      // An answer to an older token says nothing about this one.
      if (token !== this.#token) return { fault: lost('another token was given') };
      if (response.status === 401) {
        this.#setReach(token === undefined ? 'token_needed' : 'token_refused');
        return { fault: faultOf('token', response.status, body) };
      }
      this.#setReach('open');
      return response.ok ? { data: body as Data } : { fault: faultOf('refused', response.status, body) };
    } catch (error) {
      if (signal?.aborted !== true) this.#setReach('lost');
      return { fault: lost(error) };
    }
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set(OWN_HEADER, '1');
    if (this.#token !== undefined) headers.set('authorization', `Bearer ${this.#token}`);
    return await fetch(path, { ...init, headers, cache: 'no-store', credentials: 'omit', redirect: 'error' });
  }

  #setReach(reach: Reach): void {
    if (reach === this.#reach) return;
    this.#reach = reach;
    this.#changed();
  }
}

/** Undefined if the body is not JSON: a proxy in between has answered. */
async function bodyOf(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    if (response.ok) throw new Error('the answer is not JSON');
    return undefined;
  }
}

function faultOf(kind: Fault['kind'], status: number, body: unknown): Fault {
  const { code, message } = (typeof body === 'object' && body !== null ? body : {}) as Partial<ApiProblem>;
  return { kind, code: code ?? String(status), message: message ?? `The server answered with status ${status}.` };
}

function lost(error: unknown): Fault {
  return { kind: 'lost', code: 'no_answer', message: String(error) };
}
