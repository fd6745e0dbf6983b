/** A password file (~/.pgpass) as libpq reads it: lines of host:port:database:user:password. */
import { readFileSync, statSync } from 'node:fs';

export interface Login {
  /** A name, an address, or `localhost` for the default socket. */
  readonly host: string;
  readonly port: string;
  readonly database: string;
  readonly user: string;
}

/** Undefined: the file has no line for this login. */
export type Found = { readonly password: string } | { readonly ignored: string } | undefined;

const OTHERS = 0o077;

/** Finds the password in a file. `ignored` says why the file is not used. */
export function passwordFrom(file: string, login: Login): Found {
  let text: string;
  try {
    const stats = statSync(file);
    if (!stats.isFile()) return { ignored: `the password file ${file} is not a plain file` };
    if (process.platform !== 'win32' && (stats.mode & OTHERS) !== 0)
      return { ignored: `the password file ${file} is accessible to group or others, so it is ignored: chmod 600 it` };
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isMissing = code === 'ENOENT' || code === 'ENOTDIR';
    return { ignored: `the password file ${file}${isMissing ? ' does not exist' : `: ${message}`}` };
  }
  const wanted = [login.host, login.port, login.database, login.user];
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue;
    const password = passwordOf(line.replace(/\r+$/, ''), wanted);
    if (password !== undefined) return { password };
  }
  return undefined;
}

/**
 * Returns a line's password if the line matches these fields. In a field a backslash escapes; `*`
 * alone is any value.
 */
function passwordOf(line: string, wanted: readonly string[]): string | undefined {
  const fields = /^((?:[^:\\]|\\.)*):((?:[^:\\]|\\.)*):((?:[^:\\]|\\.)*):((?:[^:\\]|\\.)*):(.*)$/s.exec(line);
  if (fields === null) return undefined;
  const isFor = wanted.every((value, index) => {
    const field = fields[index + 1] as string;
    return field === '*' || unescaped(field) === value;
  });
  return isFor ? unescaped(fields[5] as string) : undefined;
}

const unescaped = (text: string): string => text.replace(/\\(.?)/gs, '$1');
