import { expect, test } from 'vitest';
import { nearPattern } from '../../src/channels/catalog/near-name.ts';
import { missingPlaceholder } from '../../src/channels/catalog/pattern.ts';

const PATTERNS = ['project:{project_id}', 'room:{room}.typing', 'team/{team}/board:{board}', 'lobby'];

test.each([
  ['proejct:42', 'project:{project_id}'],
  ['projects:42', 'project:{project_id}'],
  ['room:7.typign', 'room:{room}.typing'],
  ['room:7:typing', 'room:{room}.typing'],
  ['teams/a/board:7', 'team/{team}/board:{board}'],
  ['loby', 'lobby'],
  ['project:42:7', undefined],
  ['something:42', undefined],
  ['', undefined],
  ['x'.repeat(1_000), undefined],
])('suggests for %s: %s', (name, pattern) => {
  expect(nearPattern(name, PATTERNS)).toBe(pattern);
});

test('an error for a placeholder without a column suggests a similar column', () => {
  const columns = [{ name: 'id' }, { name: 'project_id' }];
  expect(missingPlaceholder('projct_id', columns)).toBe(
    'has no column projct_id for its placeholder {projct_id}; did you mean {project_id}?',
  );
  expect(missingPlaceholder('team', columns)).toBe(
    'has no column team for its placeholder {team}; its columns are id, project_id',
  );
});
