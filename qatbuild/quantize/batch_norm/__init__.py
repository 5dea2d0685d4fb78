"""Batch norms: recognised by structure, folded into their layers, frozen in training. Shared by both modes.

    find_batch_norms (find)  ->  BatchNorm          fold (fold)                        inference; training in mode tf1
                                                    fold_in_training (training_fold)   training in mode integer
                             ->  Unfoldable         reported, refused, or (mode integer) turned into a layer

`moving_average` finds the variables that track a batch's statistics, `batch_statistics` switches from the statistics to
the variables once they are frozen. Imports only graph/.
"""
