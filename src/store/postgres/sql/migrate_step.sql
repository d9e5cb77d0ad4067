    if not exists (select from sekali.schema_migrations where version = /* version */) then
        execute $migration$/* migration */$migration$;
        insert into sekali.schema_migrations (version, applied_at) values (/* version */, now());
    end if;
