/** Finds the pattern that a mistyped channel name probably meant. */
import { suggest } from '../../suggest.ts';

/**
 * Maximum length of a name to compare, in characters: the time grows with the square of the length.
 */
const NAME_LENGTH_MAX = 100;
const PARTS = /[:/.]/;

/**
 * The pattern whose literals are most similar, with the name's own values in its placeholders;
 * undefined if no pattern is similar.
 */
export function nearPattern(name: string, patterns: Iterable<string>): string | undefined {
  if (name.length > NAME_LENGTH_MAX) return undefined;
  const parts = name.split(PARTS);
  const byName = new Map<string, string>();
  for (const pattern of patterns) {
    if (pattern.split(PARTS).length !== parts.length) continue;
    const separators = pattern.match(/[:/.]/g) ?? [];
    const filled = pattern.split(PARTS).map((part, index) => (part.includes('{') ? parts[index] : part));
    byName.set(filled.map((part, index) => `${part}${separators[index] ?? ''}`).join(''), pattern);
  }
  const meant = suggest(name, byName.keys());
  return meant === undefined ? undefined : byName.get(meant);
}
