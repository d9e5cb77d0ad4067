select sekali.erase(array(/* seqs */))::text
