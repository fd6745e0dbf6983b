/**
 * Gathers parameters as libpq does: from the connection string, then the service, then the
 * environment.
 */
import { KEYWORDS, parameterProblem } from './keywords.ts';
import { invalid, type Pairs, parseConninfo } from './parse.ts';
import { readService } from './service-file.ts';

export interface Parameter {
  readonly value: string;
  /** Where it was found, as text for people. */
  readonly source: string;
}

export type Parameters = ReadonlyMap<string, Parameter>;

const STRING = 'the connection string (SNO_DATABASE_URL or DATABASE_URL)';

/**
 * Returns what is wrong with a connection string, ignoring the environment. Undefined: it is valid.
 */
export function conninfoProblem(text: string): string | undefined {
  try {
    checkAll(parseConninfo(text), STRING);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Throws `connection_invalid`. */
export function gatherParameters(text: string, environment: NodeJS.ProcessEnv): Parameters {
  const parameters = new Map<string, Parameter>();
  const add = (pairs: Pairs, source: string) => {
    checkAll(pairs, source);
    for (const [keyword, value] of pairs) if (!parameters.has(keyword)) parameters.set(keyword, { value, source });
  };
  add(parseConninfo(text), STRING);
  const service = parameters.get('service')?.value ?? environment['PGSERVICE'];
  if (service !== undefined) {
    const given = parameters.get('servicefile')?.value ?? environment['PGSERVICEFILE'];
    const { file, pairs } = readService(service, given, environment);
    add(pairs, `the service ${service} in ${file}`);
  }
  for (const [keyword, { variable }] of Object.entries(KEYWORDS)) {
    const value = variable === undefined ? undefined : environment[variable];
    if (value !== undefined && !parameters.has(keyword)) add(new Map([[keyword, value]]), variable as string);
  }
  if (environment['PGREQUIRESSL'] === '1' && !parameters.has('sslmode'))
    add(new Map([['sslmode', 'require']]), 'PGREQUIRESSL');
  return parameters;
}

function checkAll(pairs: Pairs, source: string): void {
  for (const [keyword, value] of pairs) {
    const problem = parameterProblem(keyword, value);
    if (problem !== undefined) throw invalid(source === STRING ? problem : `${problem} (from ${source})`);
  }
}
