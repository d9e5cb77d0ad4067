-- Erases the first $3 matches after $1 and up to $2.
select sekali.erase(array(/* matching */ limit $3))
