/**
 * Explains why a token may join a channel, or why not. It takes the same steps as for a client that
 * subscribes, and shows the outcome of each. It uses its own connections, so that no client waits.
 */

import { ANONYMOUS, type Tokens } from '../../access/access.ts';
import { broken, denied, undeclared, unknown } from '../../access/refusals.ts';
import type { ExplainRequest, Explanation, ResolutionStep, ViewRefusal } from '../../admin/api/types.ts';
import type { ChannelNames } from '../../channels/served/names.ts';
import type { ResolvedChannel, ServedDefinitions } from '../../channels/served/served.ts';
import { canonicalTest } from '../../channels/values/value-text.ts';
import type { Settings } from '../../config/settings.ts';
import { SnoError, toldToClient } from '../../errors.ts';
import { KnownNames } from '../inspect/known-names.ts';
import { type AccessResult, explainAccess } from './access-step.ts';
import { needsOf } from './needs.ts';
import { type Probe, Prober } from './probe.ts';
import { assumedClaims, explainToken, noToken, type TokenResult } from './token-step.ts';

export interface ExplainerOptions {
  readonly databaseUrl: string;
  readonly settings: Settings;
  readonly tokens: () => Tokens;
  /** The definitions in force. Undefined: none are known yet. */
  readonly definitions: () => ServedDefinitions | undefined;
  /** Why the views of a pattern are refused. */
  readonly refusalsOf: (pattern: string) => readonly ViewRefusal[];
}

export class Explainer {
  readonly #options: ExplainerOptions;
  readonly #prober: Prober;
  #tokens: Tokens | undefined;
  readonly #known: KnownNames;

  constructor(options: ExplainerOptions) {
    this.#options = options;
    this.#known = new KnownNames(options.definitions);
    this.#prober = new Prober(options.databaseUrl, options.settings.SNO_ACCESS_TIMEOUT_SECONDS);
  }

  async explain(request: ExplainRequest): Promise<Explanation> {
    const token = await this.#token(request);
    const { names } = this.#known;
    if (names === undefined) return unanswered(request.channel, token, 'the definitions of channels are not known yet');
    const resolved = names.resolve(request.channel);
    if (resolved instanceof SnoError) return this.#unresolved(request.channel, token, resolved, names);
    try {
      return await this.#prober.with((probe) => this.#asked(probe, token, resolved));
    } catch (error) {
      if (error instanceof SnoError) throw error;
      return unanswered(request.channel, token, `the database could not be asked: ${(error as Error).message}`);
    }
  }

  close(): Promise<void> {
    return this.#prober.close();
  }

  async #token({ token, claims }: ExplainRequest): Promise<TokenResult> {
    if (claims !== undefined) return assumedClaims(claims);
    if (token === undefined || token.trim() === '') return noToken();
    this.#tokens ??= this.#options.tokens();
    return explainToken(token, this.#tokens, this.#options.settings);
  }

  #unresolved(channel: string, token: TokenResult, error: SnoError, names: ChannelNames): Explanation {
    const pattern = names.declaredPatternOf(channel);
    const resolution: ResolutionStep = {
      state: 'refused',
      pattern: pattern ?? null,
      code: error.code,
      message: error.message,
      meant: names.meant(channel) ?? null,
      values: [],
    };
    const refusals = pattern === undefined ? [] : this.#options.refusalsOf(pattern);
    return explanation(channel, token, resolution, undefined, refusals, error);
  }

  async #asked(probe: Probe, token: TokenResult, channel: ResolvedChannel): Promise<Explanation> {
    const values: ResolutionStep['values'][number][] = [];
    for (const [index, value] of channel.values.entries()) {
      const type = channel.valueTypes[index] ?? 'text';
      const isValid = canonicalTest(type)(value) ?? (await probe.isCanonical(type, value));
      values.push({ name: channel.pattern.columns[index] ?? '', type, value, isValid: isValid ?? null });
    }
    const isInvalid = values.some(({ isValid }) => isValid === false);
    const resolution: ResolutionStep = {
      state: isInvalid ? 'refused' : 'found',
      pattern: channel.pattern.text,
      code: isInvalid ? 'channel_unknown' : null,
      message: isInvalid ? unknown(channel).message : null,
      meant: null,
      values,
    };
    if (isInvalid) return explanation(channel.name, token, resolution, undefined, [], unknown(channel));
    const isOpen = this.#options.settings.SNO_ACCESS === 'open';
    const access = await explainAccess(probe, channel, token.claims, isOpen);
    return explanation(channel.name, token, resolution, access, [], errorOf(channel, access, token));
  }
}

/** The error that a client would receive. Undefined: it may join, or that is not known. */
function errorOf(channel: ResolvedChannel, { step }: AccessResult, { claims }: TokenResult): SnoError | undefined {
  switch (step.state) {
    case 'allowed':
    case 'open':
      return undefined;
    case 'missing':
      return undeclared(channel);
    case 'denied':
      return denied(channel, channel.access, isEmpty(claims) ? ANONYMOUS : claims).error;
    case 'failed':
      return broken(channel, new Error(step.message ?? ''));
  }
}

const isEmpty = (claims: object): boolean => Object.keys(claims).length === 0;

function explanation(
  channel: string,
  token: TokenResult,
  resolution: ResolutionStep,
  access: AccessResult | undefined,
  refusals: readonly ViewRefusal[],
  error: SnoError | undefined,
): Explanation {
  const told = token.error ?? error;
  const steps = { token: token.step, resolution, access: access?.step ?? null };
  const needed = needsOf({ ...steps, select: access?.select, refusals });
  const isUnknown = access?.step.state === 'failed' && token.error === undefined;
  const verdict = isUnknown ? 'unknown' : told === undefined ? 'allowed' : 'refused';
  const who = token.step.state === 'none' ? 'a client without a token' : 'the token';
  const summary =
    verdict === 'allowed'
      ? `${who} may join ${channel}`
      : `${who} may not join ${channel}${needed[0] === undefined ? '' : `. Needed: ${needed[0].text}`}`;
  return {
    channel,
    verdict,
    summary: isUnknown ? `whether ${who} may join ${channel} is not known: ${access.step.message}` : summary,
    needed,
    ...steps,
    told: told === undefined ? null : toldToClient(told),
  };
}

function unanswered(channel: string, token: TokenResult, why: string): Explanation {
  const resolution: ResolutionStep = {
    state: 'refused',
    pattern: null,
    code: 'try_again',
    message: why,
    meant: null,
    values: [],
  };
  const told = toldToClient(token.error ?? new SnoError('try_again', why));
  return {
    channel,
    verdict: 'unknown',
    summary: `whether the channel may be joined is not known: ${why}`,
    needed: [],
    token: token.step,
    resolution,
    access: null,
    told,
  };
}
