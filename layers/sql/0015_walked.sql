-- Who walks a responsibility grid is said by the version of the grid, so that the past says who walked it then.
alter table grids.responsibility add column collector_code text;
comment on column grids.responsibility.collector_code is 'Code of the collector who walks it; null: nobody';
update grids.responsibility r
set collector_code = (select min(k.code) from layers.collector k where k.responsibility_code = r.code) where upper_inf(r.valid);
alter table layers.collector drop column responsibility_code;
