/** The layer rule (docs/architecture.md): which file under src may import which. */
import { posix } from 'node:path';

/** The stages, and what each may import beside its own folder and the shared vocabulary. */
const STAGES: Readonly<Record<string, readonly string[]>> = {
  wal: [],
  decode: ['wal'],
  channels: ['wal', 'decode'],
  access: ['wal', 'decode', 'channels'],
  journal: ['wal', 'decode', 'channels'],
  fanout: ['wal', 'decode', 'channels', 'access', 'journal'],
  gateway: ['wal', 'decode', 'channels', 'access', 'journal', 'fanout'],
};

/** Wires stages together: may import all but the client, and no stage imports it. */
const WIRING = ['main.ts', 'front.ts', 'downstream.ts', 'workers', 'index.ts', 'cli', 'demo'];

/** The first part of a path within src: a folder, or a file directly in it. */
const part = (file: string) => file.split('/')[0] as string;

const isShared = (file: string) => part(file) === 'postgres' || (!file.includes('/') && !WIRING.includes(file));

/** What a file imports, types included: `./x.ts` made a path within src, packages as they are. */
export function importsOf(file: string, source: string): string[] {
  // Comments and texts may speak of imports; Biome sees to it that a module's name stands in single quotes.
  const code = source.replaceAll(/\/\*.*?\*\/|^\s*\/\/.*$/gms, '').replaceAll(/"[^"\n]*"/g, '""');
  const specifiers = [...code.matchAll(/\b(?:from|import)\s*\(?\s*'([^'\n]+)'/g)].map((match) => match[1] as string);
  return specifiers.map((name) => (name.startsWith('.') ? posix.join(posix.dirname(file), name) : name));
}

function mayImport(file: string, imported: string): boolean {
  const [from, to] = [part(file), part(imported)];
  const isOurs = imported.endsWith('.ts');
  if (from === 'client') return isOurs && (to === 'client' || imported === 'protocol.ts');
  if (!isOurs) return true;
  if (WIRING.includes(from)) return to !== 'client' || from === 'cli' || from === 'demo';
  if (isShared(file)) return isShared(imported);
  return to === from || isShared(imported) || (STAGES[from]?.includes(to) ?? false);
}

/** Every import that the rule forbids, as `importer -> imported`. `sources`: by path within src. */
export function forbiddenImports(sources: ReadonlyMap<string, string>): string[] {
  return [...sources].flatMap(([file, source]) =>
    importsOf(file, source)
      .filter((imported) => !mayImport(file, imported))
      .map((imported) => `${file} -> ${imported}`),
  );
}

/** Every cycle of imports that a walk meets, as `a -> b -> a`. */
export function importCycles(sources: ReadonlyMap<string, string>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]) => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' -> '));
    if (done.has(file) || path.includes(file)) return;
    for (const imported of importsOf(file, sources.get(file) ?? '')) walk(imported, [...path, file]);
    done.add(file);
  };
  for (const file of sources.keys()) walk(file, []);
  return cycles;
}

/** Folders of src that the rule does not know: to be added to it before they are used. */
export function unknownFolders(files: Iterable<string>): string[] {
  const known = [...Object.keys(STAGES), ...WIRING, 'postgres', 'client'];
  return [...new Set([...files].filter((file) => file.includes('/')).map(part))].filter(
    (name) => !known.includes(name),
  );
}
