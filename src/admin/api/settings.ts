/** The settings in force, and where each comes from. A secret shows only that it is set. */
import type { SettingSources } from '../../config/read.ts';
import type { Setting } from '../../config/setting.ts';
import { SETTING_GROUPS, type SettingName, type Settings } from '../../config/settings.ts';
import { redacted } from '../../redaction.ts';
import type { EffectiveSetting } from './types.ts';

const SET = '(set)';
/** User and password in a URL. */
const USER_INFO = /\b([a-z][a-z\d+.-]*:\/\/)[^\s/?#@]*@/gi;
/** PEM text in place of a file's path. */
const PEM = /-----BEGIN/;

export function effectiveSettings(settings: Settings, sources: SettingSources | undefined): EffectiveSetting[] {
  return Object.entries(SETTING_GROUPS).flatMap(([group, members]) =>
    Object.entries(members as Record<string, Setting>).map(([name, { fallback, description, secret = false }]) => {
      const value: unknown = settings[name as SettingName];
      const source = sources?.[name as SettingName];
      return {
        name,
        group,
        value: value === undefined ? null : secret ? SET : shown(value),
        isSecret: secret,
        source: source?.kind ?? (value === undefined ? 'unset' : 'default'),
        from: source?.from ?? null,
        default: fallback ?? null,
        description,
      };
    }),
  );
}

function shown(value: unknown): string {
  const text = Array.isArray(value) ? value.join(',') : String(value);
  return PEM.test(text) ? SET : redacted(text.replaceAll(USER_INFO, '$1'));
}
