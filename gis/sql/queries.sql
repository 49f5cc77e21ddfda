-- name: record_change
insert into gis.change (actor, reason, source) values (:actor, :reason, :source) returning id;
