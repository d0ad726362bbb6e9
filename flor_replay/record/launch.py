"""The file that ``flor-replay run`` hands to the interpreter; all else is in `hands_free`."""

if __name__ == "__main__":
    import sys

    del sys.path[0]  # this folder is no place to import from
    from flor_replay.record.hands_free import main

    main()
