/** Reads the settings from environment variables and flags. */
import { SnoError } from '../errors.ts';
import { suggest } from '../suggest.ts';
import { contradictions } from './contradictions.ts';
import type { Setting } from './setting.ts';
import { flagOf, SETTING_NAMES, SETTINGS, type SettingName, type Settings } from './settings.ts';

type Environment = Readonly<Record<string, string | undefined>>;
type Flags = Readonly<Partial<Record<SettingName, string>>>;

/**
 * Reads the settings of a service. `flags` are keyed by setting name and override the environment.
 * An unknown SNO_ variable, an invalid value or a contradiction throws `setting_invalid`, which
 * names every setting at fault.
 */
export function readSettings(environment: Environment, flags: Flags = {}): Settings {
  const settings = readValues(environment, flags);
  refuse(contradictions(settings));
  return settings;
}

/**
 * Like `readSettings`, but without contradictions between settings: for commands that serve no
 * clients.
 */
export function readValues(environment: Environment, flags: Flags = {}): Settings {
  const problems = Object.keys(environment).filter(isUnknown).map(unknown);
  const settings: Partial<Record<SettingName, unknown>> = {};
  for (const name of SETTING_NAMES) {
    const { source, value } = given(name, environment, flags);
    const { form, fallback, secret: hidden }: Setting = SETTINGS[name];
    if (value === undefined && fallback === undefined) continue;
    const result = form.schema.safeParse(value ?? fallback);
    if (result.success) settings[name] = result.data;
    else
      problems.push(`${source}: ${result.error.issues[0]?.message}${hidden ? '' : `, got ${JSON.stringify(value)}`}`);
  }
  refuse(problems);
  return settings as Settings;
}

/** Where the value of a setting comes from. */
export interface SettingSource {
  readonly kind: 'default' | 'environment' | 'flag' | 'unset';
  /** The variable or flag. Undefined: neither is set. */
  readonly from: string | undefined;
}

export type SettingSources = Readonly<Record<SettingName, SettingSource>>;

/** The sources of the settings that `readSettings` reads from the same variables and flags. */
export function settingSources(environment: Environment, flags: Flags = {}): SettingSources {
  const source = (name: SettingName): SettingSource => {
    if (flags[name] !== undefined) return { kind: 'flag', from: `--${flagOf(name)}` };
    const { source: from, value } = given(name, environment, flags);
    if (value !== undefined) return { kind: 'environment', from };
    return { kind: (SETTINGS[name] as Setting).fallback === undefined ? 'unset' : 'default', from: undefined };
  };
  return Object.fromEntries(SETTING_NAMES.map((name) => [name, source(name)])) as SettingSources;
}

/** A setting's value and its source. An empty variable counts as not set. */
function given(
  name: SettingName,
  environment: Environment,
  flags: Flags,
): { readonly source: string; readonly value: string | undefined } {
  if (flags[name] !== undefined) return { source: `${name} (--${flagOf(name)})`, value: flags[name] };
  if (name === 'SNO_DATABASE_URL' && !environment[name])
    return { source: 'DATABASE_URL', value: environment['DATABASE_URL'] || undefined };
  return { source: name, value: environment[name] || undefined };
}

const isUnknown = (name: string): boolean => name.startsWith('SNO_') && !(name in SETTINGS);

function unknown(name: string): string {
  const meant = suggest(name, SETTING_NAMES);
  return `${name}: unknown setting${meant === undefined ? '' : `; did you mean ${meant}?`}`;
}

function refuse(problems: readonly string[]): void {
  if (problems.length > 0) throw new SnoError('setting_invalid', problems.join('\n'));
}
