"""Run `depth_kd_training` as `python -m depth_kd_training`, as torchrun and `fabric run` do."""

from depth_kd_training.cli import main

if __name__ == '__main__':
    main()
