import numpy as np
from harness import log, loop
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler


def main():
    np.random.seed(2)
    X = np.random.randn(400, 30)
    y = (X[:, 0] > 0).astype(int)
    model = SGDClassifier(learning_rate="adaptive", eta0=0.1, average=True)
    scaler = StandardScaler()
    for _epoch in loop(range(6)):
        for part in np.array_split(np.random.permutation(400), 4):
            scaler.partial_fit(X[part])
            model.partial_fit(scaler.transform(X[part]), y[part], classes=[0, 1])
        log("coef", model.coef_)
        log("t", float(model.t_))
        log("score", float(model.score(scaler.transform(X), y)))


main()
