/** Values derived from the settings. */
import { SnoError } from '../errors.ts';
import type { Setting } from './setting.ts';
import { SETTING_NAMES, SETTINGS, type Settings } from './settings.ts';

/**
 * Maximum bytes of WAL that the slot may hold; 0: no bound. The slot always trails by up to
 * SNO_REPLAY_WAL_BYTES, so the bound is at least twice that.
 */
export function slotWalBytes(settings: Pick<Settings, 'SNO_SLOT_WAL_BYTES' | 'SNO_REPLAY_WAL_BYTES'>): number {
  const { SNO_SLOT_WAL_BYTES: bound, SNO_REPLAY_WAL_BYTES: replay } = settings;
  return bound === 0 ? 0 : Math.max(bound, 2 * replay);
}

/** The database's URL; throws `setting_invalid` if it is not set. */
export function databaseUrl(settings: Pick<Settings, 'SNO_DATABASE_URL'>): string {
  const url = settings.SNO_DATABASE_URL;
  if (url !== undefined) return url;
  const problem = 'SNO_DATABASE_URL: is not set, and neither is DATABASE_URL; this command needs the database';
  throw new SnoError('setting_invalid', problem);
}

/** Returns the values of secret settings, and the passwords in them. */
export function secretValues(settings: Settings): string[] {
  const values = SETTING_NAMES.filter((name) => (SETTINGS[name] as Setting).secret)
    .flatMap((name): unknown => settings[name] ?? [])
    .filter((value) => typeof value === 'string');
  const passwords = values.flatMap((value) =>
    [...value.matchAll(/:\/\/[^/:@]*:(.*)@|\bpassword\s*=\s*'?([^'\s]*)/g)].map(
      ([, url, option]) => url ?? option ?? '',
    ),
  );
  return [...values, ...passwords, ...passwords.map(decoded)];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The settings in a form that may be logged: a secret shows only whether it is set. */
export function printable(settings: Settings): Record<string, unknown> {
  return Object.fromEntries(
    SETTING_NAMES.map((name) => [
      name,
      (SETTINGS[name] as Setting).secret && settings[name] !== undefined ? '(set)' : settings[name],
    ]),
  );
}
