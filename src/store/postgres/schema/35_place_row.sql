select sekali.place_here()
