"""python -m vggfeat"""

from vggfeat.cli import main

if __name__ == "__main__":
    main()
