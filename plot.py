"""Look at runs."""

from reports.plot import main

if __name__ == "__main__":
    main()
