-- The simulation: functions that the demo calls on a timer, each call an ordinary transaction on an ordinary
-- connection. Nothing informs Snö: it reads what they commit.
create schema demo;

create function demo.running() returns boolean stable language sql as $$
  select coalesce((select running from public.life where id = 1), false)
$$;

-- Moves some prices by up to 0.8 %, with a slight pull towards their opening prices.
create function demo.tick_prices() returns void language sql as $$
  update public.prices
     set price = greatest(1, round(price * (1 + 0.016 * (random() - 0.5))::numeric + 0.01 * (open - price), 2))
   where demo.running() and random() < 0.35
$$;

-- Advances the clock of each match; now and then a team scores; after the end a new match begins.
create function demo.tick_matches() returns void language plpgsql as $$
declare
  match  public.matches;
  scorer text;
  team   text;
begin
  if not demo.running() then
    return;
  end if;
  for match in select * from public.matches order by id for update loop
    if match.status = 'final' and random() < 0.08 then
      delete from public.goals where match_id = match.id;
      update public.matches set home_score = 0, away_score = 0, clock_seconds = 0, status = 'live' where id = match.id;
    elsif match.status = 'live' and match.clock_seconds >= 3600 then
      update public.matches set status = 'final' where id = match.id;
    elsif match.status = 'live' then
      team := case when random() >= 0.06 then null when random() < 0.5 then 'home' else 'away' end;
      match.clock_seconds := least(3600, match.clock_seconds + 7);
      update public.matches
         set clock_seconds = match.clock_seconds,
             home_score = home_score + (team is not distinct from 'home')::integer,
             away_score = away_score + (team is not distinct from 'away')::integer
       where id = match.id;
      if team is not null then
        scorer := (array['Lindqvist', 'Åberg', 'Sjöholm', 'Nyström', 'Hedlund', 'Frost', 'Wiik', 'Öberg'])[1 + floor(8 * random())];
        insert into public.goals (match_id, team, scorer, clock_seconds) values (match.id, team, scorer, match.clock_seconds);
      end if;
    end if;
  end loop;
end
$$;

-- Moves one card to the next column; from the last one to the first.
create function demo.tick_board() returns void language sql as $$
  update public.tasks
     set status = case status when 'todo' then 'doing' when 'doing' then 'done' else 'todo' end,
         position = nextval('public.task_order')
   where demo.running()
     and id = (select id from public.tasks where archived_at is null order by random() limit 1)
$$;
