/**
 * Random revocations among random writes. `npm test` runs a small part of it, from a seed;
 * `RACES=10000 npm run vitest -- test/service/revocation-races` runs that many cases on each
 * version (`RACES_SEED` chooses others).
 */
import { expect, test } from 'vitest';
import { Random } from '../oracle/random.ts';
import { VERSIONS } from '../support/postgres.ts';
import { signToken } from '../support/service.ts';
import { COMMIT_BYTES, Lane, schemaOf, Tally } from './race.ts';
import { RawClient } from './raw-client.ts';
import { stage } from './stage.ts';

const CASES = Number(process.env['RACES'] ?? 160);
const SEED = Number(process.env['RACES_SEED'] ?? 1);
const LANES = 8;
/** Members of a lane. Each runs its own case. */
const MEMBERS = 4;
const ROUNDS = Math.ceil(CASES / (LANES * MEMBERS));

test.each(VERSIONS)(
  'Postgres %i: a client receives nothing of the revoking commit or after it; a client that keeps access loses nothing',
  { timeout: 60_000 + CASES * 500 },
  async (version) => {
    const lanes = Array.from({ length: LANES }, (_, lane) => lane);
    const settings = { SNO_ACCESS: 'views', SNO_COMMIT_BYTES: String(COMMIT_BYTES) };
    const here = await stage(lanes.map(schemaOf).join('\n'), settings, version);
    const tally = new Tally();
    const warnings: string[] = [];
    const startedAt = performance.now();
    try {
      await Promise.all(
        lanes.map(async (lane) => {
          const connect = async () => {
            const client = await here.database.connect();
            client.on('notice', ({ severity, message = '' }) => severity === 'WARNING' && warnings.push(message));
            return client;
          };
          const join = async (sub: string | undefined, ...kinds: readonly string[]) => {
            const client = await RawClient.open(here.service, sub === undefined ? undefined : await signToken({ sub }));
            for (const kind of kinds) expect((await client.subscribe(kind)).type).toBe('subscribed');
            client.frames.length = 0;
            return client;
          };
          const all = `all${lane}`;
          const cases = new Lane(
            {
              lane,
              random: new Random(SEED * 1_000 + lane),
              connections: [await connect(), await connect(), await connect()],
              witness: await join(undefined, all),
              keeper: await join('n', all, `own${lane}:1`, `team${lane}:1`),
              members: await Promise.all(Array.from({ length: MEMBERS }, () => join('m', all))),
            },
            tally,
          );
          for (let round = 0; round < ROUNDS; round++) await cases.run();
        }),
      );
      const checks = await here.metric('sno_access_query_checks_sum');
      const queries = await here.metric('sno_access_query_checks_count');
      process.stdout.write(
        `races: Postgres ${version}, seed ${SEED}, ${Math.round((performance.now() - startedAt) / 1_000)} s: ${tally.text}; ${checks} checks by ${queries} queries\n`,
      );
      expect(tally.counts.get('cases')).toBe(ROUNDS * LANES * MEMBERS);
      expect(warnings).toEqual([]);
      for (const what of ['ended (now)', 'ended (snapshot)', 'ended (since)', 'kept', 'with parts'])
        expect(tally.counts.get(what) ?? 0, what).toBeGreaterThan(0);
    } catch (error) {
      const told = here.service.log.filter(({ level }) => level === 'warn' || level === 'error');
      throw new Error(`the service told: ${JSON.stringify(told)}`, { cause: error });
    } finally {
      await here.end();
    }
  },
);

test('a token that expires among writes: nothing arrives after its expiry, and a client with a longer token loses nothing', async () => {
  const here = await stage(schemaOf(0), { SNO_ACCESS: 'views' });
  let isWriting = true;
  let written = 0;
  let done = async () => {};
  try {
    const keeper = await RawClient.open(here.service, await signToken({ sub: 'n' }));
    await keeper.subscribe('own0:1');
    const writing = (async () => {
      for (; isWriting; written++) await here.query("insert into notes0 (room, tag) values (1, 'w')");
    })();
    done = () => {
      isWriting = false;
      return writing;
    };
    const members = await Promise.all(Array.from({ length: 20 }, () => RawClient.open(here.service)));
    await Promise.all(
      members.map(async (member) => {
        // with five seconds of tolerance for clocks, it ends in about three
        member.send({ type: 'token', token: await signToken({ sub: 'm' }, '-1 seconds') });
        await member.subscribe('own0:1');
      }),
    );
    for (const member of members) await member.wait('the end', 0, ({ code }) => code === 'token_expired');
    const before = written;
    await keeper.until('more is written', () => written > before + 20);
    await done();
    for (const member of members) {
      const types = member.frames.filter(({ channel }) => channel === 'own0:1').map(({ type }) => type);
      expect(types.slice(0, 2)).toEqual(['subscribed', 'changes']);
      expect(types.indexOf('unsubscribed')).toBe(types.length - 1);
      member.cut();
    }
    await keeper.until('all of it', () => keeper.of('own0:1').length === written);
    keeper.cut();
  } finally {
    await done();
    await here.end();
  }
});
