select sekali.reserve() from sekali.upkeep where cluster <> sekali.cluster()
