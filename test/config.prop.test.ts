/**
 * Settings: any value is read by its form, or refused by an error that names the setting and shows
 * no secret.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { printable } from '../src/config/derived.ts';
import { readSettings } from '../src/config/read.ts';
import type { Setting } from '../src/config/setting.ts';
import { SETTING_NAMES, SETTINGS, type SettingName } from '../src/config/settings.ts';
import { SnoError } from '../src/errors.ts';
import { FUZZ_MS, fuzz, tellFuzz } from './support/fuzz.ts';

const value = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.integer().map(String),
  fc.tuple(fc.nat(), fc.constantFrom('kB', 'MB', 'GB', 'TB', ' MB', 'm')).map((parts) => parts.join('')),
  fc.constantFrom(
    '*',
    'off',
    'null',
    'https://a.example',
    'postgres://u:p@h/d',
    '::1',
    '0.0.0.0',
    '10.0.0.0/8',
    '1e3',
    '0x10',
    ' ',
    '-0',
  ),
  fc.webUrl(),
);
const name = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...SETTING_NAMES) },
  fc.string({ maxLength: 12 }).map((text) => `SNO_${text}`),
  fc.constantFrom('SNO___proto__', 'SNO_constructor', 'DATABASE_URL', '__proto__'),
);

test(
  'settings are read or refused, whatever their values',
  () => {
    const { numRuns, seed } = fuzz(2_500);
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 5 }), (given) => {
        const environment = Object.fromEntries(given);
        try {
          const printed = printable(readSettings(environment));
          for (const secret of SETTING_NAMES.filter((each) => (SETTINGS[each] as Setting).secret))
            expect([undefined, '(set)']).toContain(printed[secret]);
        } catch (error) {
          if (!(error instanceof SnoError)) throw error;
          expect(error.code).toBe('setting_invalid');
          const names = [...Object.keys(environment), ...SETTING_NAMES];
          for (const line of error.message.split('\n').filter((text) => /^(SNO_|DATABASE_URL)/.test(text)))
            expect(names.some((each) => line.startsWith(each))).toBe(true);
          for (const [each, text] of given) {
            const isSecret =
              each === 'DATABASE_URL' || (SETTINGS[each as SettingName] as Setting | undefined)?.secret === true;
            // unless another setting was given the same value
            if (isSecret && text.length > 20 && given.filter(([, other]) => other.includes(text)).length === 1)
              expect(error.message).not.toContain(text);
          }
        }
      }),
      { numRuns, seed },
    );
    tellFuzz('settings', numRuns, seed);
  },
  FUZZ_MS,
);
