/** Why a token may join a channel, or why not. See ../types.ts. */
import type { ApiProblem } from './common.ts';
import type { Remedy } from './service.ts';

// POST /api/explain

export interface ExplainRequest {
  /** Name of the channel: `project:42`. */
  readonly channel: string;
  /** A token. It is neither stored nor returned. */
  readonly token?: string;
  /** Claims instead of a token: they count as verified. */
  readonly claims?: Readonly<Record<string, unknown>>;
}

/** Why a token may join a channel, or why not. It contains no row of the database. */
export interface Explanation {
  readonly channel: string;
  /** unknown: the database could not be asked, or the definitions are not known yet. */
  readonly verdict: 'allowed' | 'refused' | 'unknown';
  /** The verdict with its first reason, in one sentence. */
  readonly summary: string;
  /** What would be needed, most important first. Empty if allowed. */
  readonly needed: readonly Need[];
  /** The steps, in the order in which Snö takes them. */
  readonly token: TokenStep;
  readonly resolution: ResolutionStep;
  /** Null: there is no channel of this name, so no access view decides. */
  readonly access: AccessStep | null;
  /** The error that a client receives. Null if allowed. */
  readonly told: ApiProblem | null;
}

export interface Need {
  /** In words. */
  readonly text: string;
  /** A command or statement to begin with. Undefined: no statement meets the need. */
  readonly remedy?: Remedy;
}

export interface TokenStep {
  /**
   * verified: signature and times are right. assumed: claims were given. none: no token was given.
   * refused: see `code`. The later steps then use its claims as if they were verified.
   */
  readonly state: 'verified' | 'assumed' | 'none' | 'refused';
  readonly code: string | null;
  /** Why it is refused. Null: it is not. */
  readonly message: string | null;
  /** Algorithm, key id, issuer, audience and times: each as found and as wanted. */
  readonly checks: readonly TokenCheck[];
  /** The claims. Null: the token cannot be read. */
  readonly claims: Readonly<Record<string, unknown>> | null;
}

export interface TokenCheck {
  readonly name: 'algorithm' | 'key' | 'signature' | 'issuer' | 'audience' | 'expires' | 'not before';
  readonly isRight: boolean | null;
  /** What the token has. */
  readonly found: string | null;
  /** What the settings want. */
  readonly wanted: string | null;
}

export interface ResolutionStep {
  readonly state: 'found' | 'refused';
  readonly pattern: string | null;
  readonly code: string | null;
  readonly message: string | null;
  /** The pattern that a mistyped name probably meant. */
  readonly meant: string | null;
  readonly values: readonly {
    readonly name: string;
    readonly type: string;
    readonly value: string;
    /** Whether it is a value of that type, as Postgres prints it. Null: not known. */
    readonly isValid: boolean | null;
  }[];
}

export interface AccessStep {
  /** `channel_access."project:{project_id}"`. */
  readonly view: string;
  /**
   * allowed: a row fits. denied: no row fits. missing: the view does not exist. open: SNO_ACCESS is
   * `open`. failed: see `message`.
   */
  readonly state: 'allowed' | 'denied' | 'missing' | 'open' | 'failed';
  /** Why the view could not be asked. */
  readonly message: string | null;
  /** The SELECT of the view, as Postgres prints it. Null: unknown. */
  readonly definition: string | null;
  /** The columns of the view that are compared, placeholders first. */
  readonly conditions: readonly AccessCondition[];
  /**
   * The conditions of the view's own WHERE, if it is a plain SELECT. Each was asked for rows that
   * fit all columns: one with `holds: false` leaves them out. Null: not examined.
   */
  readonly filters: readonly AccessFilter[] | null;
}

export interface AccessCondition {
  /** Column of the access view. */
  readonly column: string;
  /** `channel`: compared with a value of the channel's name. `claim`: with a claim of the token. */
  readonly by: 'channel' | 'claim';
  /** The column's type. */
  readonly type: string;
  /** What the column is compared with. A row fits with any of them. At most 20. */
  readonly wanted: readonly string[];
  /**
   * ok: no reason lies here. missing: the token lacks the claim. invalid: it is of another type.
   * no row: the view has no row with this value, alone or together with the columns before it.
   */
  readonly state: 'ok' | 'missing' | 'invalid' | 'no row' | 'unknown';
  /** Whether the view has any row with this value in this column. Null: not asked. */
  readonly hasRowAlone: boolean | null;
  /** Whether the view has a row that fits this column and all before it. Null: not asked. */
  readonly hasRowSoFar: boolean | null;
  /** Whether the view has a row that fits all other columns. Null: not asked. */
  readonly hasRowWithout: boolean | null;
  /** The fault in words. Null: no fault. */
  readonly message: string | null;
}

export interface AccessFilter {
  /** SQL, as Postgres prints it. */
  readonly text: string;
  /** Whether it holds for a row that fits the columns. Null: it could not be asked. */
  readonly holds: boolean | null;
}
