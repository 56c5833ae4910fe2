"""Look at runs."""

from reports.findings import main

if __name__ == "__main__":
    main()
