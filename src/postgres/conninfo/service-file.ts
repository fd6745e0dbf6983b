/** Service files (pg_service.conf) as libpq reads them: sections of keyword=value lines. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalid, type Pairs } from './parse.ts';

export interface Service {
  readonly file: string;
  readonly pairs: Pairs;
}

/** The folder of Debian's libpq; other systems set PGSYSCONFDIR. */
const SYSTEM_FOLDER = '/etc/postgresql-common';

/** Throws `connection_invalid` if no file has the service. */
export function readService(name: string, file: string | undefined, environment: NodeJS.ProcessEnv): Service {
  const own = file ?? join(environment['HOME'] ?? '/', '.pg_service.conf');
  const files = [own, join(environment['PGSYSCONFDIR'] ?? SYSTEM_FOLDER, 'pg_service.conf')];
  for (const each of files) {
    const text = textOf(each);
    if (text === undefined && each === file) throw invalid(`the service file ${each} does not exist`);
    const pairs = text === undefined ? undefined : sectionOf(text, name, each);
    if (pairs !== undefined) return { file: each, pairs };
  }
  throw invalid(`the service ${name} is missing in the service files: ${files.join(', ')}`);
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw invalid(`the service file ${file} cannot be read: ${(error as Error).message}`);
  }
}

/** Returns the first section of that name. Within it the first value of a keyword counts. */
function sectionOf(text: string, name: string, file: string): Pairs | undefined {
  let pairs: Pairs | undefined;
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('[')) {
      if (pairs !== undefined) return pairs;
      if (line.startsWith(`[${name}]`)) pairs = new Map();
      continue;
    }
    if (pairs === undefined) continue;
    const equals = line.indexOf('=');
    const keyword = line.slice(0, equals);
    const place = `line ${index + 1} of the service file ${file}`;
    if (line.startsWith('ldap')) throw invalid(`${place}: Snö does not ask LDAP servers`);
    if (equals < 0 || keyword === 'service' || keyword === 'servicefile')
      throw invalid(`${place}: must be keyword=value, and the keyword must not be service`);
    if (!pairs.has(keyword)) pairs.set(keyword, line.slice(equals + 1));
  }
  return pairs;
}
