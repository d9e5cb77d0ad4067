create trigger count_topic after insert on topics begin
    update upkeep set topics = topics + 1;
end
