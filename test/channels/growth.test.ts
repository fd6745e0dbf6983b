import { beforeAll, expect, test } from 'vitest';
import { onlyGrows } from '../../src/channels/compiler/access/monotonic.ts';
import { loadParser } from '../../src/channels/sql/parse.ts';

beforeAll(loadParser);

test.each([
  'select m.project, m.member as sub from members m',
  "select m.project, m.member as sub from members m where m.role = any (array['a', 'b']) and not m.gone",
  'select p.id, m.member from projects p join members m on m.project = p.id',
  'select p.id, m.member from projects p, members m where m.project = p.id',
  'select p.id from projects p where exists (select 1 from members m where m.project = p.id)',
  'select p.id from projects p where p.id in (select m.project from members m) or p.open',
  'select x.id from (select p.id from projects p) x',
  'select p.id from projects p union select m.project from members m',
  'select distinct p.id from projects p',
])('another row can only add results: %s', (definition) => {
  expect(onlyGrows([definition])).toBe(true);
});

test.each([
  'select m.project from members m where not exists (select 1 from bans b where b.member = m.member)',
  'select m.project from members m where not (m.project in (select b.project from bans b))',
  'select m.project from members m where m.project <> all (select b.project from bans b)',
  'select m.project from members m where (exists (select 1 from bans b)) = false',
  'select p.id from projects p left join bans b on b.project = p.id where b.project is null',
  'select p.id from projects p group by p.id having count(*) = 1',
  'select p.id from projects p order by p.id limit 3',
  'select p.id from projects p order by p.id offset 3',
  'select distinct on (p.owner) p.id from projects p order by p.owner, p.id desc',
  'select x.id from (select distinct on (p.owner) p.id from projects p) x',
  'select m.project from members m where m.project in (select distinct on (p.owner) p.id from projects p)',
  'select m.project from members m union (select distinct on (p.owner) p.id from projects p)',
  'select distinct on (1) p.id from projects p',
  'select m.project, rank() over (order by m.since desc) from members m',
  'select m.project from members m except select b.project from bans b',
  'select m.project from members m intersect select b.project from bans b',
  'select m.project from members m where m.since >= all (select n.since from members n)',
  'select m.project, (select max(b.id) from bans b) as ban from members m',
  'select p.id from projects p cross join lateral (select m.id from members m order by m.id desc limit 1) x',
  'select p.id from projects p, generate_series(1, p.size) n',
  'select p.id from projects p tablesample system (10)',
  'select p.id from projects p except select b.project from bans b',
  'select p.id from projects p where p.id = (select max(b.project) from bans b)',
  'select p.id from projects p where may(p.id)',
  'select max(p.id) as id from projects p',
  'with x as (select p.id from projects p) select x.id from x',
  'select x.id from (select p.id from projects p limit 1) x',
])('another row may remove results: %s', (definition) => {
  expect(onlyGrows([definition])).toBe(false);
  expect(onlyGrows(['select m.project from members m', definition])).toBe(false);
});
