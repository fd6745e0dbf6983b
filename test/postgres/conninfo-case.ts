/** A connection string and its expected outcome. The test replaces {names} by paths and ports. */
import { userInfo } from 'node:os';

export const PASSWORD = "p#a%b@c:d/e?f g'h\\i";
export const ENCODED = encodeURIComponent(PASSWORD).replaceAll("'", '%27');
/** The password, quoted for a keyword=value string. */
export const QUOTED = `'${PASSWORD.replace(/[\\']/g, '\\$&')}'`;
export const OWN_ROLE = userInfo().username;

export interface Case {
  readonly conninfo: string;
  /** `user/database port tls`, or the error's text. */
  readonly expected: string | RegExp;
  readonly env?: Readonly<Record<string, string>>;
  /** Lines of ~/.pgpass, and its mode. */
  readonly passfile?: readonly [lines: string, mode?: number];
  /** The reason why psql 15 differs. */
  readonly differs?: string;
}

export const at = (user: string, port = '{P}', tls = true, database = 'shop') => `${user}/${database} ${port} ${tls}`;
export const URL_OF = `postgres://app:${ENCODED}@127.0.0.1:{P}/shop`;
export const NEW = 'libpq 15 does not know it';
export const STRICT = 'libpq goes on without verifying';
