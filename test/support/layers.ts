/** The layer rule (docs/architecture.md): which files under src a file may import. */
import { posix } from 'node:path';

/** Rooms of shared vocabulary. Any stage may import them, and the files directly under src. */
const SHARED = ['postgres', 'config', 'memory', 'metrics', 'websocket'];

/**
 * The stages, and the folders that each may import in addition to itself and the shared vocabulary.
 */
const STAGES: Readonly<Record<string, readonly string[]>> = {
  wal: [],
  spool: ['wal'],
  decode: ['wal'],
  channels: ['wal', 'decode', 'markers'],
  setup: ['channels'],
  markers: [],
  commit: ['spool', 'channels', 'markers'],
  journal: ['wal', 'commit'],
  access: ['channels'],
  fanout: ['channels', 'markers', 'commit', 'journal', 'access'],
  relay: ['channels', 'commit', 'journal'],
  peers: ['fanout'],
  presence: ['access', 'fanout', 'peers'],
  jetstream: ['channels', 'commit', 'journal', 'fanout', 'relay', 'peers'],
  http: [],
  telemetry: [],
  admin: ['http'],
  gateway: ['channels', 'commit', 'access', 'fanout', 'peers', 'presence', 'http'],
};

/** Connects the stages: may import all except the client, and no stage imports it. */
const WIRING = ['main.ts', 'roles', 'workers', 'index.ts', 'cli', 'demo'];

/**
 * The ladders within stages: each room, or file directly in the stage's folder, may import those
 * before it. '' stands for all other files directly in the folder.
 */
const LADDERS: Readonly<Record<string, readonly string[]>> = {
  jetstream: [
    'stream-message.ts',
    'envelope.ts',
    'fault.ts',
    'relay-options.ts',
    'nats-options.ts',
    'stored-stream.ts',
    'stream-watch.ts',
    'reading.ts',
    'connection.ts',
    'machines.ts',
    'pieces.ts',
    'range.ts',
    'search.ts',
    'history.ts',
    'last-place.ts',
    'term-writer.ts',
    'publisher.ts',
    'arrivals.ts',
    'steps-after.ts',
    'follower.ts',
  ],
  channels: [
    'catalog',
    'sql',
    'values',
    'served',
    'remote-answers.ts',
    'join-plan.ts',
    'channel.ts',
    'events.ts',
    'published.ts',
    'evaluation',
    'routines',
    'joins',
    'remote',
    'compiler/expressions',
    'compiler',
    'compiler/access',
    'definitions',
    'access-guards.ts',
    'routes.ts',
    'router.ts',
  ],
  fanout: [
    '',
    'snapshots',
    'history',
    'options.ts',
    'reach.ts',
    'fanout.ts',
    'subscription.ts',
    'waiting-frames.ts',
    'access',
    'catch-up.ts',
    'joining.ts',
    'feed.ts',
    'live',
    'hub.ts',
  ],
  gateway: [
    'limits.ts',
    'credentials.ts',
    'channel-resolver.ts',
    'rate.ts',
    'signs-of-life.ts',
    'sends.ts',
    'appearances.ts',
    'subscribe-attempt.ts',
    'session.ts',
    'accept',
    'heartbeat.ts',
    'clients.ts',
    'old-values.ts',
    'sno',
    'cors.ts',
    'sse',
    'pusher',
    '',
  ],
  client: ['typed', 'error.ts', 'event.ts', 'platform', 'state', '', 'presence', 'react', 'tanstack'],
  cli: ['command.ts', 'report.ts', 'database.ts', 'check', 'doctor', 'types', 'tail', ''],
};

/**
 * The rooms of a stage that other stages and the roles may import. The command line and setup may
 * import all rooms: `sno check` shows what the compiler found.
 */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  channels: [
    'catalog',
    'served',
    'definitions',
    'joins',
    'remote',
    'values/value-text.ts',
    'channel.ts',
    'events.ts',
    'published.ts',
    'remote-answers.ts',
    'router.ts',
    'sql/parse.ts',
    'sql/plain-select.ts',
  ],
};
const BEHIND_DOORS = ['cli', 'setup'];

/** The packages that rooms of the client may import. */
const CLIENT_PACKAGES: Readonly<Record<string, string>> = {
  'client/react/': 'react',
  'client/tanstack/': '@tanstack/db',
};

/** Maximum files directly in a folder. A folder with more has more than one subject. */
const FILES_MAX = 20;

/** The first part of a path within src: a folder, or a file directly in it. */
const part = (file: string) => file.split('/')[0] as string;

const isShared = (file: string) => SHARED.includes(part(file)) || (!file.includes('/') && !WIRING.includes(file));

/**
 * The imports of a file, types included. `./x.ts` becomes a path within src. Packages are returned
 * unchanged.
 */
export function importsOf(file: string, source: string): string[] {
  // Comments and texts may mention imports. Biome keeps module names in single quotes.
  const code = source.replaceAll(/\/\*.*?\*\/|^\s*\/\/.*$/gms, '').replaceAll(/"[^"\n]*"/g, '""');
  const specifiers = [...code.matchAll(/\b(?:from|import)\s*\(?\s*'([^'\n]+)'/g)].map((match) => match[1] as string);
  return specifiers.map((name) => (name.startsWith('.') ? posix.join(posix.dirname(file), name) : name));
}

/** A file's step on the ladder of its stage. Undefined: no step names it. */
function stepOf(file: string): number | undefined {
  const ladder = LADDERS[part(file)] ?? [];
  const path = file.slice(part(file).length + 1);
  const of = (step: string) => (step === '' ? !path.includes('/') : path === step || path.startsWith(`${step}/`));
  const named = ladder.filter(of).sort((one, other) => other.length - one.length)[0];
  return named === undefined ? undefined : ladder.indexOf(named);
}

/** Whether the import is of a room that its stage does not open to others. */
function isBehindDoor(file: string, imported: string): boolean {
  const doors = DOORS[part(imported)];
  if (doors === undefined || part(file) === part(imported) || BEHIND_DOORS.includes(part(file))) return false;
  const path = imported.slice(part(imported).length + 1);
  return !doors.some((door) => path === door || path.startsWith(`${door}/`));
}

function isUp(file: string, imported: string): boolean {
  if (part(file) !== part(imported) || LADDERS[part(file)] === undefined) return false;
  const [from, to] = [stepOf(file), stepOf(imported)];
  return from === undefined || to === undefined || to > from;
}

function mayImport(file: string, imported: string): boolean {
  const [from, to] = [part(file), part(imported)];
  const isOurs = imported.endsWith('.ts');
  if (isOurs && (isUp(file, imported) || isBehindDoor(file, imported))) return false;
  if (from === 'client' && isOurs) return to === 'client' || imported === 'protocol.ts';
  if (from === 'client')
    return Object.entries(CLIENT_PACKAGES).some(([room, name]) => file.startsWith(room) && imported === name);
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

/**
 * The files that a file loads, directly or through others, including itself. Imports of types do
 * not count.
 */
export function loadedBy(file: string, sources: ReadonlyMap<string, string>): ReadonlySet<string> {
  const loaded = new Set([file]);
  for (const each of loaded) {
    const code = (sources.get(each) ?? '').replaceAll(/\b(?:import|export) type [^;]*;/g, '');
    for (const imported of importsOf(each, code)) if (sources.has(imported)) loaded.add(imported);
  }
  return loaded;
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

/** Folders of src that the rule does not name yet. */
export function unknownFolders(files: Iterable<string>): string[] {
  const known = [...Object.keys(STAGES), ...SHARED, ...WIRING, 'client'];
  return [...new Set([...files].filter((file) => file.includes('/')).map(part))].filter(
    (name) => !known.includes(name),
  );
}

/** Folders with more than FILES_MAX files directly in them. `files`: by path within src. */
export function crowdedFolders(files: Iterable<string>): string[] {
  const counts = new Map<string, number>();
  for (const file of files) {
    const folder = posix.dirname(file);
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts].filter(([, count]) => count > FILES_MAX).map(([folder]) => folder);
}
