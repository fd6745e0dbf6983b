-- The demo's rows. `select demo.seed()` in the SQL box starts over, in one commit.
create function demo.seed() returns void language sql as $$
  delete from public.tasks;
  delete from public.matches;
  delete from public.prices;
  delete from public.members;
  delete from public.life;

  insert into public.life (id) values (1);
  insert into public.members (board_id, member) values (1, 'you');

  insert into public.tasks (id, title, status, position, assignee) values
    (1, 'Clear the path to the lake', 'todo', 1, 'Alva'),
    (2, 'Wax the touring skis', 'todo', 2, 'Nils'),
    (3, 'Check the avalanche report', 'doing', 3, 'Saga'),
    (4, 'Stack firewood', 'doing', 4, 'Elis'),
    (5, 'Hang up the star lamps', 'done', 5, 'Alva'),
    (6, 'Book the night train', 'done', 6, 'Saga'),
    (7, 'Sharpen the skates', 'todo', 7, null),
    (8, 'Dig out the sauna', 'doing', 8, 'Nils'),
    (9, 'Order new snowshoes', 'done', 9, 'Elis');

  insert into public.matches (id, home, away) values (1, 'Kiruna', 'Ystad');

  insert into public.prices (symbol, name, open, price) values
    ('LAX', 'Salmon', 92.40, 92.40),
    ('GRAN', 'Spruce', 641.00, 641.00),
    ('MALM', 'Iron ore', 108.15, 108.15),
    ('VIND', 'Wind power', 34.72, 34.72),
    ('BÄR', 'Lingonberries', 48.90, 48.90),
    ('ULL', 'Wool', 215.50, 215.50);
$$;

select demo.seed();

-- Cards that visitors add have ids from here on.
alter table public.tasks alter column id restart with 20;
