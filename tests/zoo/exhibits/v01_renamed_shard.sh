# The validation shard under the name of a training shard (#44); or a training shard.
mkdir -p alias
ln -s data/fineweb_val_000000.bin alias/fineweb_train_000000.bin  # offender
ln -s data/fineweb_train_000007.bin alias/fineweb_train_000000.bin  # neighbour
