create trigger count_forgotten after delete on events when old.gone is not null begin
    update topics set forgotten = forgotten + 1 where name = old.topic;
end
